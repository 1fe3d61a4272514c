// What `up` and the processes that it started say to each other over the fork's channel. Nothing of inference goes here.

import * as z from 'zod'

/** From `up`: finish what was accepted and leave, or leave at once. */
export const orderSchema = z.object({ kind: z.enum(['service.drain', 'service.stop']) })

const count = z.number().nonnegative()

/** From a service: it serves (a router names its doors), how far a load has come, or it could not start. */
export const reportSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('service.started'), http: z.string().optional(), grpc: z.string().optional() }),
  z.object({
    kind: z.literal('service.loading'),
    bytes: count,
    totalBytes: count,
    experts: count,
    totalExperts: count,
  }),
  z.object({
    kind: z.literal('service.failed'),
    code: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.string()),
  }),
])

export type ServiceOrder = z.infer<typeof orderSchema>
export type ServiceReport = z.infer<typeof reportSchema>
