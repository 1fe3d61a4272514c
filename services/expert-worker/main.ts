// An expert worker as a process of its own, its settings from the environment alone. `banyan serve expert-worker` runs this.

import { expertWorkerOptions } from '../../lib/config/options.js'
import { runService } from '../../lib/config/run-service.js'
import { startExpertWorker } from './start.js'

await runService('expert-worker', process, (deps, config) => startExpertWorker(deps, expertWorkerOptions(config)))
