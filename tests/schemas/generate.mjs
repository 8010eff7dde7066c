// Prints what zod and zod-to-json-schema write, as {name: schema}. Needs `npm install zod@4 zod-to-json-schema` beside it.
import { z } from "zod";
import { z as z3 } from "zod/v3";
import { zodToJsonSchema } from "zod-to-json-schema";

const shapes = (z) => ({
  person: z.object({ name: z.string().min(1).max(20), age: z.number().int().min(0).nullable(), mail: z.string().email().optional() }),
  formats: z.object({ id: z.string().uuid(), site: z.string().url(), ip: z.string().ip ? z.string().ip({ version: "v4" }) : z.ipv4(),
    at: z.string().datetime() }),
  tuple: z.object({ point: z.tuple([z.number(), z.number(), z.string()]), rest: z.tuple([z.string()]).rest(z.number()) }),
  record: z.object({ counts: z.record(z.string(), z.number().int()), flags: z.record(z.enum(["a", "b"]), z.boolean()) }),
  union: z.object({ value: z.union([z.string(), z.number(), z.boolean(), z.null()]), lit: z.union([z.literal("x"), z.literal(3)]) }),
  discriminated: z.object({ shape: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("circle"), radius: z.number().positive() }),
    z.object({ kind: z.literal("square"), side: z.number().nonnegative() })]) }),
  intersection: z.intersection(z.object({ a: z.string() }), z.object({ b: z.number() })),
  extended: z.object({ a: z.string() }).extend({ b: z.number().optional() }),
  loose: z.object({ a: z.string() }).passthrough(),
  described: z.object({ level: z.enum(["low", "high"]).describe("How much").default("low"), on: z.boolean().default(true) }),
  texts: z.object({ start: z.string().startsWith("ab"), end: z.string().endsWith("yz"), has: z.string().includes("mid"),
    code: z.string().regex(/^[A-Z]{2}-\d{3}$/), exact: z.string().length(4) }),
  numbers: z.object({ step: z.number().multipleOf(0.5), range: z.number().gt(0).lt(1), whole: z.number().int() }),
  arrays: z.object({ tags: z.array(z.string().max(5)).min(1).max(3), grid: z.array(z.array(z.number().int()).length(2)) }),
});
const recursive4 = z.object({ name: z.string(), get children() { return z.array(recursive4).max(2); } });
const recursive3 = z3.object({ name: z3.string(), children: z3.lazy(() => z3.array(recursive3)) });
const out = {};
for (const [name, schema] of Object.entries({ ...shapes(z), recursive: recursive4,
  iso: z.object({ date: z.iso.date(), time: z.iso.time(), span: z.iso.duration(), mail: z.email(), data: z.base64() }) }))
  out[`zod ${name}`] = z.toJSONSchema(schema);
for (const [name, schema] of Object.entries({ ...shapes(z3), recursive: recursive3 })) out[`zod3 ${name}`] = zodToJsonSchema(schema);
out["zod3 openapi"] = zodToJsonSchema(shapes(z3).person, { target: "openApi3" });
out["zod3 named"] = zodToJsonSchema(shapes(z3).discriminated, "Named");
console.log(JSON.stringify(out));
