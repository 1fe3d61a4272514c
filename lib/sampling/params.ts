// Sampling parameters after validation and defaults: what the sampler is a function of, next to the logits.

/** Every field is present: doors fill absent ones from `generation_config.json`, then from the neutral values. */
export interface SamplingParams {
  readonly temperature: number // 0 is greedy
  readonly topP: number // (0, 1], 1 is off
  readonly topK: number // 0 is off
  readonly minP: number // [0, 1), 0 is off
  readonly repetitionPenalty: number // > 0, 1 is off; over prompt and output
  readonly presencePenalty: number // [-2, 2], over output
  readonly frequencyPenalty: number // [-2, 2], over output
  readonly logitBias: readonly (readonly [token: number, bias: number])[] // ascending token
  readonly minTokens: number // end tokens cannot be sampled before this many output tokens
  readonly endTokenIds: readonly number[] // ascending: stop_token_ids and, unless ignore_eos, the model's eos ids
  readonly seed: bigint // uint64
  readonly logprobs: number // -1: none; n ≥ 0: of the sampled token and of the n best
}

/** Every field at the value that does nothing: greedy, without penalties, ends or log-probabilities. */
export const NEUTRAL_SAMPLING: SamplingParams = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
  minTokens: 0,
  endTokenIds: [],
  seed: 0n,
  logprobs: -1,
}

/** Raw log-probabilities (log-softmax of the logits before any warping), best first, ties by lower id. */
export interface TokenLogprobs {
  readonly token: number
  readonly logprob: number
  readonly top: readonly { readonly token: number; readonly logprob: number }[]
}
