// What both doors are opened with.

import type { Logger } from '../../lib/config/service.js'
import type { InferenceEngine } from './engine.js'
import type { RateLimits } from './rate-limits.js'
import type { TlsSource } from './tls-source.js'

export interface DoorOptions {
  readonly engine: InferenceEngine
  readonly host: string
  readonly port: number // 0 takes a free one
  readonly apiKeys: readonly string[]
  readonly logger: Logger
  readonly rates?: RateLimits | undefined // one for both doors; absent: what the keys say
  readonly tls?: TlsSource | undefined // absent: in the clear
}
