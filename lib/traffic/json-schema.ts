// The form of a record for readers in any language: `docs/schemas/request-record.v1.schema.json`, written by
// `npm run docs:schema`.

import * as z from 'zod'
import { requestRecordSchema } from './request-record.js'

/** JSON text of the schema. */
export function recordJsonSchema(): string {
  const { $schema, ...rest } = z.toJSONSchema(requestRecordSchema, { io: 'input' }) // later fields may come
  const about = { title: 'Banyan request record', description: 'One line of requests-*.jsonl; see docs/traces.md.' }
  return `${JSON.stringify({ $schema, ...about, ...rest }, null, 2)}\n`
}
