// The devices that suites run on: a GPU in software everywhere, and NVIDIA's where there is one.

import { existsSync } from 'node:fs'
import { hasCuda, type Provider } from '../../lib/compute/session.js'
import { useSoftwareGpu } from './software-gpu.js'

export interface TestDevice {
  readonly device: 'webgpu' | 'cuda' // as `--device` has it
  readonly provider: Exclude<Provider, 'cpu'>
  /** Makes this process see the device, or skips the test with the reason. */
  readonly use: (this: void, test: Mocha.Context) => void
}

const GPU = '/dev/nvidia0'

export const TEST_DEVICES: readonly TestDevice[] = [
  { device: 'webgpu', provider: 'webgpu', use: useSoftwareGpu },
  {
    device: 'cuda',
    provider: 'cuda:0',
    use: (test) => {
      const lacking = !existsSync(GPU)
        ? `there is no ${GPU}`
        : hasCuda()
          ? undefined
          : 'no provider for it is installed'
      if (lacking === undefined) return
      console.log(`      skipped: cuda: ${lacking}`)
      test.skip()
    },
  },
]
