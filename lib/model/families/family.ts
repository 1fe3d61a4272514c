// A family: how a published `config.json` describes a model. One small file each, one line in the registry.

import type { ConfigFields } from '../config-fields.js'
import type { ModelSpec } from '../spec.js'

export interface Family {
  readonly architecture: string // as `architectures` in config.json names it
  /** What the reference implementation's configuration class takes for absent keys. */
  readonly defaults: Readonly<Record<string, unknown>>
  readonly spec: (fields: ConfigFields) => ModelSpec
}
