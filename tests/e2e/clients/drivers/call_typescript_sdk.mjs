// @tinybirdco/sdk, as its README shows it.
import { readFileSync } from "node:fs";
import { createClient, createTinybirdApi, defineDatasource, t, Tinybird } from "@tinybirdco/sdk";

const { url, token, calls } = JSON.parse(readFileSync(process.env.DRIVE, "utf8"));
const api = createTinybirdApi({ baseUrl: url, token });

const known = {
  ingest: ({ name, event, ...options }) => api.ingest(name, event, options),
  ingest_batch: ({ name, events, ...options }) => api.ingestBatch(name, events, options),

  // Values that JSON has no type for, or that many parsers would round.
  ingest_values: ({ name }) =>
    api.ingest(name, { big: 2n ** 63n - 1n, huge: 2n ** 64n - 1n, exact: 2n ** 53n + 1n, money: "12.34", map: new Map([["a", 1]]) }),

  // By the typed client, with its data source defined.
  ingest_typed: async ({ rows }) => {
    const pageViews = defineDatasource("page_views", { schema: { timestamp: t.dateTime(), pathname: t.string() } });
    const tinybird = new Tinybird({ datasources: { pageViews }, pipes: {}, baseUrl: url, token });
    const answers = [];
    for (const row of rows) answers.push(await tinybird.pageViews.ingest(row));
    return answers;
  },

  append: ({ name, file, ...options }) => api.appendDatasource(name, { file, ...options }),
  replace: ({ name, file }) => createClient({ baseUrl: url, token }).datasources.replace(name, { file }),
  delete: ({ name, condition, ...options }) => api.deleteDatasource(name, { deleteCondition: condition, ...options }),
  truncate: ({ name }) => api.truncateDatasource(name),
  sql: ({ query }) => api.sql(query),
  job: ({ job_id }) => api.requestJson(`/v0/jobs/${job_id}`),

  // A token for one hour; then one row sent with it.
  create_token: async ({ name, scopes }) => {
    const client = createClient({ baseUrl: url, token });
    const made = await client.tokens.createJWT({ name, expiresAt: new Date(Date.now() + 3600 * 1000), scopes });
    return createTinybirdApi({ baseUrl: url, token: made.token }).ingest("t", { n: 2 });
  },

  workspace: async () => (await (await api.request("/v1/workspace")).json()).name,
};

const answers = [];
for (const [name, given] of calls) {
  try {
    answers.push((await known[name](given)) ?? null);
  } catch (error) {
    answers.push({ raised: error.name, message: error.message, status: error.statusCode });
  }
}
console.log(JSON.stringify(answers));
