// The formats that traces are written in, by name.

import { writeBanyan } from './banyan.js'
import { writeDynamo } from './dynamo.js'
import { writeMooncake } from './mooncake.js'
import { writeOtlp } from './otlp.js'
import type { Writer } from './writer.js'

export const WRITERS: Readonly<Record<string, Writer>> = {
  mooncake: writeMooncake,
  otlp: writeOtlp,
  banyan: writeBanyan,
  dynamo: writeDynamo,
}
