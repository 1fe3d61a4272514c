// Every format that traces are read from; the first that knows a file has it.

import { azure2023, azure2024 } from './azure.js'
import { bailian } from './bailian.js'
import { banyan } from './banyan.js'
import { burstgpt } from './burstgpt.js'
import { sharegpt, vllmCustom } from './content.js'
import { dynamo } from './dynamo.js'
import type { TraceFormat } from './format.js'
import { mooncake } from './mooncake.js'
import { otlp } from './otlp.js'

export const FORMATS: readonly TraceFormat[] = [
  banyan,
  dynamo,
  otlp,
  bailian,
  mooncake,
  azure2023,
  azure2024,
  burstgpt,
  sharegpt,
  vllmCustom,
]
