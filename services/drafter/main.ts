// A drafter as a process of its own, its settings from the environment alone. `banyan serve drafter` runs this.

import { drafterOptions } from '../../lib/config/options.js'
import { runService } from '../../lib/config/run-service.js'
import { startDrafter } from './start.js'

await runService('drafter', process, (deps, config) => startDrafter(deps, drafterOptions(config)))
