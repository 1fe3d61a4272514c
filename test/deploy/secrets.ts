// The Secrets that a cluster's owner brings along, as the script of the manifests makes them: new ones at every call.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { repositoryRoot } from '../helpers/paths.js'
import { parseManifests, type Manifest } from './manifests.js'

export const SECRETS_SCRIPT = join(repositoryRoot, 'deploy', 'k8s', 'make-secrets.sh')

/** Needs a shell and openssl, as the script does. `names`: more of the NATS servers' certificate. */
export const makeSecrets = (names: readonly string[] = []): Manifest[] =>
  parseManifests(
    execFileSync('sh', [SECRETS_SCRIPT, ...(names.length === 0 ? [] : ['-a', names.join(',')])], { encoding: 'utf8' }),
  )
