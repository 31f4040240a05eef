// What Slack's own packages say of the calls that gateway/channels/slack.py makes.
import type { KnownBlock, MessageAttachment } from "@slack/types";
import type { ChatGetPermalinkArguments, ChatPostMessageArguments, ChatUpdateArguments } from "@slack/web-api";
import type { IncomingWebhookSendArguments } from "@slack/webhook";

// Slack's own lists take any object that has a `type`, too: those that have no name there are not for us, and
// beside them TypeScript would let any key pass. So the lists are replaced, in each member of a union.
type Named<Call> = Call extends unknown ? Omit<Call, "blocks" | "attachments"> & Lists : never;
type Lists = { text: string; blocks?: KnownBlock[]; attachments?: Attachment[] };
type Attachment = Omit<MessageAttachment, "blocks"> & { blocks?: KnownBlock[] };

// The client's own settings; and what a webhook of an app cannot choose.
// docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
type NotSaid = "fetch" | "timeout" | "retryConfig" | "channel" | "username" | "icon_emoji" | "icon_url";

export type IncomingWebhook = Named<Omit<IncomingWebhookSendArguments, NotSaid>>;
export type PostMessage = Named<ChatPostMessageArguments>;
export type Update = Named<ChatUpdateArguments>;
export type GetPermalink = ChatGetPermalinkArguments;
