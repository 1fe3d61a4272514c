// What a scope's finished sequences said: suffix automata in two generations, of which the older is dropped when the
// newer is full.
//
// Invariants
//   O1  A scope holds at most twice `maxGenerationTokens`, all scopes together `maxTokens`, in at most `maxScopes`:
//       above, the least recently used scopes go.
//   O2  Texts of a scope show in that scope alone. The scope '' stores nothing.

import { SuffixAutomaton } from './suffix-automaton.js'

export interface SuffixStoreLimits {
  readonly maxGenerationTokens: number
  readonly maxTokens: number // at least twice as many
  readonly maxScopes: number
}

export class SuffixStore {
  private readonly limits: SuffixStoreLimits
  private readonly scopes = new Map<string, readonly SuffixAutomaton[]>() // least recently used first

  constructor(limits: SuffixStoreLimits) {
    this.limits = limits
  }

  get numTokens(): number {
    return [...this.scopes.values()].reduce((sum, generations) => sum + tokensIn(generations), 0)
  }

  /** What to look in, the newest first; valid until the next `add`. */
  generations(scope: string): readonly SuffixAutomaton[] {
    const generations = this.scopes.get(scope)
    if (generations === undefined) return []
    this.scopes.delete(scope)
    this.scopes.set(scope, generations)
    return generations
  }

  /** Takes in a text; of one longer than a generation, its end. */
  add(scope: string, text: Int32Array): void {
    if (scope === '' || text.length === 0) return
    const end = text.subarray(Math.max(0, text.length - this.limits.maxGenerationTokens))
    const generations = this.withRoom(this.generations(scope), end.length)
    this.scopes.delete(scope)
    this.scopes.set(scope, generations)
    const [newest] = generations
    newest?.startText()
    for (const token of end) newest?.append(token)
    this.evict()
  }

  private withRoom(generations: readonly SuffixAutomaton[], numTokens: number): readonly SuffixAutomaton[] {
    const [newest] = generations
    const hasRoom = newest !== undefined && newest.numTokens + numTokens <= this.limits.maxGenerationTokens
    return hasRoom ? generations : [new SuffixAutomaton(), ...generations.slice(0, 1)]
  }

  private evict(): void {
    let numTokens = this.numTokens
    for (const [scope, generations] of this.scopes) {
      const isFull = this.scopes.size > this.limits.maxScopes || numTokens > this.limits.maxTokens
      if (!isFull || this.scopes.size === 1) return
      this.scopes.delete(scope)
      numTokens -= tokensIn(generations)
    }
  }
}

function tokensIn(generations: readonly SuffixAutomaton[]): number {
  return generations.reduce((sum, { numTokens }) => sum + numTokens, 0)
}
