// The public messages as protobufjs types. The .proto file ships in the package; in the repository it lies at the root.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'

const FILE = join('proto', 'banyan', 'v1', 'inference.proto')

function findProto(from: string): string {
  if (existsSync(join(from, FILE))) return join(from, FILE)
  if (dirname(from) === from) throw new Error(`${FILE} is missing from the package`)
  return findProto(dirname(from))
}

const text = readFileSync(findProto(dirname(fileURLToPath(import.meta.url))), 'utf8')
const root = protobuf.parse(text).root // camelCase field names

const DETAILS = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`).root

export type Plain = Readonly<Record<string, unknown>>

export interface Codec {
  encode(value: Plain): Buffer
  decode(bytes: Uint8Array): Plain
}

function codec(type: protobuf.Type): Codec {
  return {
    encode: (value) => Buffer.from(type.encode(type.fromObject(value)).finish()),
    decode: (bytes) =>
      type.toObject(type.decode(bytes), {
        longs: String,
        enums: String,
        defaults: true,
        arrays: true,
        objects: true,
        oneofs: true,
      }),
  }
}

/** A message of `banyan.v1`. Fields have camelCase names, uint64 are decimal strings. */
export const message = (name: string): Codec => codec(root.lookupType(`banyan.v1.${name}`))

export const statusCodec = codec(DETAILS.lookupType('google.rpc.Status'))
export const errorInfoCodec = codec(DETAILS.lookupType('google.rpc.ErrorInfo'))
