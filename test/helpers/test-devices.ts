// The devices that suites run on: a GPU in software everywhere, and NVIDIA's where there is one.

import { existsSync } from 'node:fs'
import { probeProvider } from '../../lib/compute/gpu/device-probe.js'
import { hasCuda, type Provider } from '../../lib/compute/session.js'
import { ClusterError } from '../../lib/errors.js'
import { useSoftwareGpu } from './software-gpu.js'

export interface TestDevice {
  readonly device: 'webgpu' | 'cuda' // as `--device` has it
  readonly provider: Exclude<Provider, 'cpu'>
  /** Makes this process see the device, or skips the test with the reason. */
  readonly use: (this: void, test: Mocha.Context) => void
}

/** What the device says to weights in float16, unless it has them. */
export function float16Refusal(provider: Provider): ClusterError | undefined {
  try {
    probeProvider(provider, { formats: ['f16'] })
    return undefined
  } catch (error) {
    return ClusterError.from(error)
  }
}

/** Skips the test with the reason where the device has no float16. */
export function needFloat16(provider: Provider, test: Mocha.Context): void {
  const refusal = float16Refusal(provider)
  if (refusal === undefined) return
  console.log(`      skipped: ${refusal.message}`)
  test.skip()
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
