// How far a match of n tokens can be trusted: the share of matches after which the next token was among the
// continuations, learned as tokens are committed, on top of a prior.

const PRIOR = [0, 0.3, 0.5, 0.65, 0.75, 0.8] // by match length; longer ones as the last
const PRIOR_WEIGHT = 16
const MEMORY = 1024 // observations after which older ones count half

const priorOf = (length: number): number => PRIOR[Math.min(length, PRIOR.length - 1)]!

/** Counts of one draft source, per match length 1 … maxLength. */
export class MatchStatistics {
  private readonly tried: Float64Array
  private readonly correct: Float64Array

  constructor(maxLength: number) {
    this.tried = new Float64Array(maxLength + 1)
    this.correct = new Float64Array(maxLength + 1)
  }

  /** Estimated probability, strictly between 0 and 1, that a continuation of such a match is right. */
  confidence(length: number): number {
    const level = Math.min(length, this.tried.length - 1)
    return (this.correct[level]! + priorOf(length) * PRIOR_WEIGHT) / (this.tried[level]! + PRIOR_WEIGHT)
  }

  record(length: number, isCorrect: boolean): void {
    if (this.tried[length]! >= MEMORY) {
      this.tried[length]! /= 2
      this.correct[length]! /= 2
    }
    this.tried[length]! += 1
    if (isCorrect) this.correct[length]! += 1
  }
}
