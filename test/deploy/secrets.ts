// The Secrets that a cluster's owner brings along, as the script of the manifests makes them: new ones at every call.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { repositoryRoot } from '../helpers/paths.js'
import { parseManifests, type Manifest } from './manifests.js'

const SCRIPT = join(repositoryRoot, 'deploy', 'k8s', 'make-secrets.sh')

/** Needs a shell and openssl, as the script does. */
export const makeSecrets = (): Manifest[] => parseManifests(execFileSync('sh', [SCRIPT], { encoding: 'utf8' }))
