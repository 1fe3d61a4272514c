// A router as a process of its own, its settings from the environment alone. `banyan serve router` runs this.

import { routerOptions } from '../../lib/config/options.js'
import { runService } from '../../lib/config/run-service.js'
import { startRouter } from './start.js'

await runService('router', process, (deps, config) => startRouter(deps, routerOptions(config)))
