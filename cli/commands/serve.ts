// `banyan serve ROLE`: one service in this process, as a container or `up` runs it.

import { toEnvironment } from '../../lib/config/environment.js'
import { loadConfig, printsConfig, type Flags } from '../cluster-flags.js'
import { usageError } from '../report-error.js'

const ROLES = {
  router: () => import('../../services/router/main.js'),
  attention: () => import('../../services/attention/main.js'),
  'expert-worker': () => import('../../services/expert-worker/main.js'),
  drafter: () => import('../../services/drafter/main.js'),
}

const isRole = (role: string): role is keyof typeof ROLES => Object.hasOwn(ROLES, role)

/** Hands the settings to the service's `main.ts` through the environment; that one runs and exits the process. */
export async function serve(role: string, flags: Flags): Promise<number> {
  if (!isRole(role)) throw usageError(`serve: want ${Object.keys(ROLES).join(', ')}, found ${role}`)
  const resolved = loadConfig(flags)
  if (printsConfig(flags, resolved)) return 0
  Object.assign(process.env, toEnvironment(resolved.config))
  await ROLES[role]()
  return 0
}
