// A family: how a published `config.json` describes a model. One small file each, one line in the registry.

import type { ConfigFields } from '../config-fields.js'
import type { ModelSpec } from '../spec.js'

export interface Family {
  readonly architecture: string // as `architectures` in config.json names it
  readonly spec: (fields: ConfigFields) => ModelSpec
}
