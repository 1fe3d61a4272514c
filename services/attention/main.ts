// An attention worker as a process of its own, its settings from the environment alone. `banyan serve attention` runs this.

import { attentionOptions } from '../../lib/config/options.js'
import { runService } from '../../lib/config/run-service.js'
import { startAttention } from './start.js'

await runService('attention', process, (deps, config) => startAttention(deps, attentionOptions(config)))
