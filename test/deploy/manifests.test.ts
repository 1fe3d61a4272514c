// The overlays of `deploy/k8s` as they are rendered: kept, of Kubernetes' form, and right about each other and the code.
// Where no kustomize is at hand what is kept is looked at all the same, and must be of the sources that are there.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from '../helpers/paths.js'
import { checkNetwork } from './checks/network.js'
import { checkPolicy } from './checks/policy.js'
import { checkReferences } from './checks/references.js'
import { adapterProblems } from './checks/scalers.js'
import { checkSchema } from './checks/schema.js'
import { checkSettings } from './checks/settings.js'
import { parseManifests, titleOf } from './manifests.js'
import { findRenderer, golden, goldenHash, overlays, renderTarget, sourcesHash, targets } from './render.js'
import { makeSecrets } from './secrets.js'

const STALE = 'npm run deploy:render writes what is rendered anew'

describe('the manifests', () => {
  const secrets = makeSecrets()

  it('are four overlays', () => assert.deepEqual(overlays(), ['cpu', 'dev', 'gpu-cuda', 'gpu-webgpu']))

  it('were kept as they are rendered now', () => assert.equal(goldenHash(), sourcesHash(), STALE))

  it('leave no component out that is not rendered', () => {
    const used = ['deploy/k8s/overlays', 'test/deploy']
      .flatMap((folder) =>
        readdirSync(join(repositoryRoot, folder), { recursive: true, encoding: 'utf8' })
          .filter((file) => file.endsWith('kustomization.yaml'))
          .map((file) => readFileSync(join(repositoryRoot, folder, file), 'utf8')),
      )
      .join('\n')
    const components = readdirSync(join(repositoryRoot, 'deploy/k8s/components'))
    assert.deepEqual(
      components.filter((name) => !used.includes(`components/${name}\n`)),
      [],
    )
  })

  it('the rules for prometheus-adapter read what is exported', () => assert.deepEqual(adapterProblems(), []))

  for (const name of targets()) {
    describe(name, () => {
      const objects = parseManifests(golden(name))

      it('renders to what is kept, and the renderer has nothing to say', function () {
        const renderer = findRenderer()
        if (renderer === undefined) {
          console.log('      skipped: no kustomize and no kubectl on the PATH; the hash of the sources was compared')
          this.skip()
        }
        const { yaml, stderr } = renderTarget(name, renderer)
        assert.equal(stderr, '')
        const rendered = parseManifests(yaml)
        assert.deepEqual(rendered.map(titleOf), objects.map(titleOf), STALE)
        for (const [i, object] of rendered.entries()) assert.deepEqual(object, objects[i], STALE)
      })
      it('is of Kubernetes’ form, without a field too many', async () => {
        assert.deepEqual(await checkSchema(objects), [])
      })
      it('names what is there', () => assert.deepEqual(checkReferences([...objects, ...secrets]), []))
      it('tells containers what the code reads', () => assert.deepEqual(checkSettings(objects), []))
      it('lets those talk that must, and nobody else', () => assert.deepEqual(checkNetwork(objects), []))
      it('keeps to the rules of safety', () => {
        assert.deepEqual(checkPolicy(objects, { isForTrial: name === 'dev' }), [])
      })
    })
  }
})
