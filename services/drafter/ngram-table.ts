// What followed the last two tokens and the last one in a text or several, in bounded memory.
//
// Invariants
//   B4  At most 2 × maxContexts contexts: two generations, and the older is dropped when the newer is full. A context
//       that is learned again moves into the newer one with its counts.

import { NgramContexts, NO_TOKEN, type Followers, type NgramKey } from './ngram-contexts.js'

export class NgramTable {
  private readonly maxContexts: number
  private newer = new NgramContexts()
  private older = new NgramContexts()

  constructor(maxContexts: number) {
    this.maxContexts = maxContexts
  }

  get numContexts(): number {
    return this.newer.size + this.older.size
  }

  /** Takes in the tokens of a text from index `from` on. */
  read(text: Int32Array, from: number): void {
    for (let i = Math.max(1, from); i < text.length; i++) {
      this.learn({ before: NO_TOKEN, last: text[i - 1]! }, text[i]!)
      if (i > 1) this.learn({ before: text[i - 2]!, last: text[i - 1]! }, text[i]!)
    }
  }

  /** The followers of a context, undefined where it is not known. */
  followers(key: NgramKey): Followers | undefined {
    return this.newer.followers(key) ?? this.older.followers(key)
  }

  private learn(key: NgramKey, token: number): void {
    if (!this.newer.has(key)) this.admit(key)
    this.newer.learn(key, token)
  }

  private admit(key: NgramKey): void {
    if (this.newer.size >= this.maxContexts) {
      this.older = this.newer
      this.newer = new NgramContexts()
    }
    const followers = this.older.followers(key)
    if (followers !== undefined) this.newer.put(key, followers)
  }
}
