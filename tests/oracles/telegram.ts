// What grammY's types of the Bot API say of the calls that gateway/channels/telegram.py makes.
import type { Opts } from "@grammyjs/types";

// No file is ever sent.
type Calls = Opts<never>;

// The method also edits inline messages and rich ones, which name themselves otherwise; ours never does.
type OfAChat = { chat_id: number | string; message_id: number; text: string };

export type SendMessage = Calls["sendMessage"];
export type EditMessageText = Calls["editMessageText"] & OfAChat;
