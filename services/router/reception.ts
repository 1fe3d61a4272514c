// From what a client sent to a request that may begin: its prompt as ids, its parameters checked, room found for it.

import type { Clock, Random } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { Admission, Applicant } from './admission.js'
import type { GenerateInput, GenerateOptions, ModelInfo } from './engine.js'
import type { RequestMetrics } from './metrics/request-metrics.js'
import type { PromptReader } from './prompt.js'
import type { RequestName } from './requests.js'
import { checkModel, validate, type ModelLimits, type ValidRequest } from './validate.js'
import type { AttentionWorkers } from './workers.js'

/** A request whose prompt is fixed: from here on it is these ids, whoever goes on with it. */
export interface Arrival {
  readonly arrivedMs: number
  readonly prompt: readonly number[]
  readonly charge: GenerateOptions['charge']
}

export interface Reception {
  /** Throws, and counts, what is wrong with the prompt. */
  read(input: GenerateInput, options: Pick<GenerateOptions, 'charge' | 'signal'>): Promise<Arrival>
  /** Throws, and counts, what else is wrong with a request or why it is not let in. */
  admit(input: GenerateInput, name: RequestName, arrival: Arrival): Admitted
}

interface Admitted {
  readonly request: ValidRequest
  readonly applicant: Applicant
}

export interface ReceptionOptions {
  readonly checkpoint: Checkpoint
  readonly model: ModelInfo
  readonly prompts: Pick<PromptReader, 'prompt'>
  readonly workers: Pick<AttentionWorkers, 'kvTokens'>
  readonly metrics: Pick<RequestMetrics, 'refused'>
  readonly admission: Pick<Admission, 'check'>
  readonly clock: Clock
  readonly random: Random
  /** Throws where this router serves nobody now. */
  readonly checkServing: () => void
}

export function createReception(options: ReceptionOptions): Reception {
  const { checkpoint, model, prompts, workers, metrics, admission, clock } = options

  const modelLimits = (): ModelLimits => ({
    vocabSize: model.vocabSize,
    maxPositions: model.maxPositions,
    kvTokens: workers.kvTokens === 0 ? model.maxPositions : workers.kvTokens,
    eosTokenIds: model.eosTokenIds,
    defaults: checkpoint.defaults,
  })

  const counted = (error: unknown): unknown => {
    const { code, details } = ClusterError.from(error)
    metrics.refused(details.reason ?? code.toUpperCase())
    return error
  }

  return {
    read: async (input, { charge, signal }) => {
      const arrivedMs = clock.monotonicMs()
      try {
        checkModel(input.model, model)
        return { arrivedMs, prompt: await prompts.prompt(input.prompt, signal), charge }
      } catch (error) {
        throw counted(error)
      }
    },
    admit: (input, { tenant, deadlineMs }, { prompt, charge }) => {
      try {
        const request = validate(input, prompt, modelLimits(), () => drawSeed(options.random))
        options.checkServing()
        const applicant = { numSequences: request.n, tenant, priority: request.priority, deadlineMs }
        admission.check(applicant)
        charge?.(request.prompt.length + request.n * request.maxTokens)
        return { request, applicant }
      } catch (error) {
        throw counted(error)
      }
    },
  }
}

/** 53 bits, so that JSON carries it as a number. */
const drawSeed = (random: Random): bigint => BigInt(Math.floor(random() * 2 ** 53))
