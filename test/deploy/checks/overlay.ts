// All judges at once, for whoever has an overlay that is not kept here.

import type { Manifest } from '../manifests.js'
import { makeSecrets } from '../secrets.js'
import { checkNetwork } from './network.js'
import { checkPolicy, type Overlay } from './policy.js'
import { checkReferences } from './references.js'
import { checkSchema } from './schema.js'
import { checkSettings } from './settings.js'

export async function checkOverlay(objects: readonly Manifest[], overlay: Overlay): Promise<string[]> {
  return [
    ...(await checkSchema(objects)),
    ...checkReferences([...objects, ...makeSecrets()]),
    ...checkSettings(objects),
    ...checkNetwork(objects),
    ...checkPolicy(objects, overlay),
  ]
}
