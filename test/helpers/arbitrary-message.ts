// Any message that its kind's schema takes, drawn for property tests: the schemas themselves say what to draw, so a new
// field or kind is drawn without a word here.

import fc, { type Arbitrary } from 'fast-check'
import * as z from 'zod'
import { MESSAGE_SCHEMAS, type Message, type MessageKind } from '../../lib/wire/messages.js'

// The keys of the table are its key type.
export const MESSAGE_KINDS = Object.keys(MESSAGE_SCHEMAS) as readonly MessageKind[]

const MAX_ITEMS = 3
const name = fc.stringMatching(/^[a-z]{1,8}$/)

const tensor = fc
  .record({ dtype: fc.constantFrom('f32', 'i32', 'q16'), shape: fc.array(fc.nat(300), { maxLength: 3 }) })
  .chain((header) => fc.uint8Array({ maxLength: 40 }).map((data) => ({ ...header, data })))

/** Never -0, which msgpack's integers have not. */
const number = fc.oneof(
  fc.nat(20),
  fc.integer(),
  fc.maxSafeNat(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
)

const text = fc.oneof(fc.string({ minLength: 1, maxLength: 40 }), fc.string({ unit: 'grapheme' }), fc.nat().map(String))

function drawUnchecked(schema: z.ZodType): Arbitrary<unknown> {
  if (schema instanceof z.ZodObject) {
    const fields = Object.entries<z.ZodType>(schema.shape)
    const requiredKeys = fields.filter(([, field]) => !(field instanceof z.ZodOptional)).map(([key]) => key)
    return fc.record(Object.fromEntries(fields.map(([key, field]) => [key, draw(field)])), { requiredKeys })
  }
  if (schema instanceof z.ZodOptional) return draw(schema.unwrap() as z.ZodType) // the record leaves it out
  if (schema instanceof z.ZodArray) return fc.array(draw(schema.element as z.ZodType), { maxLength: MAX_ITEMS })
  if (schema instanceof z.ZodTuple) return fc.tuple(...(schema.def.items as readonly z.ZodType[]).map(draw))
  if (schema instanceof z.ZodRecord) {
    return fc.dictionary(name, draw(schema.valueType as z.ZodType), { maxKeys: MAX_ITEMS, noNullPrototype: true })
  }
  if (schema instanceof z.ZodEnum) return fc.constantFrom(...schema.options)
  if (schema instanceof z.ZodLiteral) return fc.constantFrom(...schema.values)
  if (schema instanceof z.ZodBoolean) return fc.boolean()
  if (schema instanceof z.ZodNumber) return number
  if (schema instanceof z.ZodString) return stringOf(schema)
  if (schema instanceof z.ZodCustom) return tensor
  throw new Error(`want a schema that can be drawn from, found ${schema.constructor.name}`)
}

function stringOf(schema: z.ZodString): Arbitrary<string> {
  const { pattern } = z.toJSONSchema(schema)
  return pattern === undefined ? text : fc.stringMatching(new RegExp(pattern))
}

/** Bounds are the schema's own word. */
function draw(schema: z.ZodType): Arbitrary<unknown> {
  const isLeaf = !(schema instanceof z.ZodObject || schema instanceof z.ZodArray || schema instanceof z.ZodOptional)
  const drawn = drawUnchecked(schema)
  return isLeaf ? drawn.filter((value) => schema.safeParse(value).success) : drawn
}

/** A message of that kind. */
export const arbitraryMessage = (kind: MessageKind): Arbitrary<Message> =>
  // What its schema takes, with the kind, is a message of it.
  draw(MESSAGE_SCHEMAS[kind]).map((body) => ({ kind, ...(body as object) }) as Message)
