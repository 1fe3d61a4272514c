// How large a cluster can be asked to be: processes per role, and replicas of every expert shard. The same bounds hold in
// the settings, over HTTP and on the wire.

import * as z from 'zod'

export const SIZE_BOUNDS = {
  routers: { min: 1, max: 64 },
  attention: { min: 1, max: 64 },
  experts: { min: 1, max: 256 },
  drafters: { min: 0, max: 64 },
  replicas: { min: 1, max: 16 },
} as const

type SizeName = keyof typeof SIZE_BOUNDS

const within = (name: SizeName) => {
  const { min, max } = SIZE_BOUNDS[name]
  const error = `want a whole number from ${min} to ${max}`
  return z.int({ error }).min(min, { error }).max(max, { error })
}

/** All of a cluster's sizes. */
export const sizesSchema = z.object({
  routers: within('routers'),
  attention: within('attention'),
  experts: within('experts'),
  drafters: within('drafters'),
  replicas: within('replicas'),
})

/** Those that are to change; the others stay. */
export const wantedSizesSchema = sizesSchema.partial()

export type Sizes = Readonly<z.infer<typeof sizesSchema>>
export type WantedSizes = Readonly<z.infer<typeof wantedSizesSchema>>

/** The sizes that are processes of a role. */
export const PROCESS_SIZES = ['routers', 'attention', 'experts', 'drafters'] as const
export type ProcessSize = (typeof PROCESS_SIZES)[number]
export const ROLE_OF = {
  routers: 'router',
  attention: 'attention',
  experts: 'expert-worker',
  drafters: 'drafter',
} as const

export const mergeSizes = (sizes: Sizes, wanted: WantedSizes): Sizes => ({
  routers: wanted.routers ?? sizes.routers,
  attention: wanted.attention ?? sizes.attention,
  experts: wanted.experts ?? sizes.experts,
  drafters: wanted.drafters ?? sizes.drafters,
  replicas: wanted.replicas ?? sizes.replicas,
})
