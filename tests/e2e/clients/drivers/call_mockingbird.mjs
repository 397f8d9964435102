// @tinybirdco/mockingbird, as its README shows it. It reports only by its log.
import { readFileSync } from "node:fs";
import { presetSchemas, TinybirdGenerator } from "@tinybirdco/mockingbird";

const { url, token, calls } = JSON.parse(readFileSync(process.env.DRIVE, "utf8"));
const lines = [];
for (const level of ["info", "log", "error"]) console[level] = (...words) => lines.push(words.join(" "));

const known = {
  generate: async ({ name, schema, preset, eps, limit }) => {
    const generator = new TinybirdGenerator({
      schema: preset ? presetSchemas[preset] : schema,
      eps,
      limit,
      logs: true,
      endpoint: url,
      datasource: name,
      token,
    });
    await generator.generate();
    return lines.splice(0);
  },
};

const answers = [];
for (const [name, given] of calls) answers.push(await known[name](given));
process.stdout.write(JSON.stringify(answers));
