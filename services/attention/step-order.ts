// Refuses steps that come after a later one of the same router: a frame that was long under way must not undo what came
// after it. A router's steps rise; a try of a step repeats its number.

import { ClusterError } from '../../lib/errors.js'
import type { MessageOf } from '../../lib/wire/messages.js'

export interface StepOrder {
  /** Throws `failed_precondition` for a step that is older than one that was seen. */
  check(step: Pick<MessageOf<'attention.step'>, 'step' | 'owner'>): void
  /** An incarnation of a router is gone. */
  forget(incarnation: string): void
}

export function createStepOrder(): StepOrder {
  const lastSteps = new Map<string, number>() // by incarnation of a router
  return {
    check: ({ step, owner }) => {
      if (owner === undefined) return
      const number = Number(step.slice(step.lastIndexOf('.') + 1))
      const last = lastSteps.get(owner.incarnation) ?? 0
      if (number < last)
        throw new ClusterError('failed_precondition', `step ${step}: came after step ${last} of its router`)
      if (number > last) lastSteps.set(owner.incarnation, number)
    },
    forget: (incarnation) => void lastSteps.delete(incarnation),
  }
}
