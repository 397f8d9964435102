// @chronark/zod-bird, as its README shows it.
import { readFileSync } from "node:fs";
import { Tinybird } from "@chronark/zod-bird";
import { z } from "zod";

const { url, token, calls } = JSON.parse(readFileSync(process.env.DRIVE, "utf8"));
const tb = new Tinybird({ token, baseUrl: url });

const known = {
  // `any` stands for a schema of an application that lets pass what the data source does not take.
  publish: ({ name, events, wait, any }) =>
    tb.buildIngestEndpoint({
      datasource: name,
      wait,
      event: any ? z.any() : z.object({ id: z.string(), time: z.number().int(), content: z.string().optional().default("") }),
    })(events),
};

const answers = [];
for (const [name, given] of calls) {
  try {
    answers.push((await known[name](given)) ?? null);
  } catch (error) {
    answers.push({ raised: error.name, message: error.message });
  }
}
console.log(JSON.stringify(answers));
