// What Notion's own client says of the calls that gateway/channels/notion.py makes.
import type {
  CreatePageParameters,
  GetDatabaseParameters,
  GetDataSourceParameters,
  QueryDataSourceParameters,
  UpdatePageParameters,
} from "@notionhq/client";

// Pages that stand by themselves can do without; ours are rows of a data source.
type Row<Call extends { properties?: unknown }> = Call & Required<Pick<Call, "properties">>;

export type CreatePage = Row<CreatePageParameters> & { parent: { data_source_id: string } };
export type UpdatePage = Row<UpdatePageParameters>;
export type GetDatabase = GetDatabaseParameters;
export type GetDataSource = GetDataSourceParameters;
export type QueryDataSource = QueryDataSourceParameters;
