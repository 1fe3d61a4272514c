// A drafter that is right whenever it can be, and never in the first place: accepted rows lie between refused ones.

import { packF32, packI32 } from '../../lib/wire/tensor.js'
import type { Completion } from '../../sdk/src/index.js'
import { frameOf, startScriptedDrafter, type Asked, type ScriptedDrafter } from '../helpers/scripted-drafter.js'
import type { TestCluster } from '../helpers/test-cluster.js'

//     0:root
//     /    \
//  1:wrong  2:right
//           /    \
//      3:wrong   4:right  …
/** A drafter that knows the answers, each under a seed of its own. */
export function startOracle(cluster: TestCluster, answers: readonly Completion[]): Promise<ScriptedDrafter> {
  const outputs = new Map<string, readonly number[]>() // by seed and choice
  for (const { seed, choices } of answers)
    for (const [choice, { tokenIds }] of choices.entries()) outputs.set(`${seed} ${choice}`, tokenIds)
  const known = new Map<string, { readonly output: readonly number[]; readonly promptLength: number }>()

  const answer = ({ question, roots }: Asked, reply: (bytes: Uint8Array) => void): void => {
    const entries = question.entries.map(({ sequence, from, tokens, start }, i) => {
      if (start !== undefined) {
        const output = outputs.get(`${start.sampling.seed} ${start.choice}`) ?? []
        known.set(sequence, { output, promptLength: start.promptLength })
      }
      const { output = [], promptLength = 0 } = known.get(sequence) ?? {}
      const numTokens = from + (tokens.shape[0] ?? 0)
      const coming = output.slice(numTokens - promptLength, numTokens - promptLength + (question.maxNodes - 1) / 2)
      return { sequence, resend: false, ...bothWays(roots[i] ?? 0, coming) }
    })
    reply(frameOf({ kind: 'draft.trees', step: question.step, sources: ['oracle'], computeMs: 0, entries }))
  }
  return startScriptedDrafter(cluster, { id: 'oracle', answer })
}

function bothWays(root: number, coming: readonly number[]) {
  const right = coming.map((_, depth) => 2 * depth + 2)
  const parents = coming.flatMap((_, depth) => [right[depth - 1] ?? 0, right[depth - 1] ?? 0])
  return {
    tokens: packI32([root, ...coming.flatMap((token) => [token === 0 ? 1 : token - 1, token])]),
    parents: packI32([-1, ...parents]),
    values: packF32(Float32Array.from([1, ...coming.flatMap((_, depth) => [0.95 ** depth, 0.95 ** depth])])),
    sources: packI32([0, ...parents.map(() => 1)]),
  }
}
