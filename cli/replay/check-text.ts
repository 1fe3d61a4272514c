// What a check found, in words: the verdict, what the fingerprints differ in, and the first difference with the texts
// around it.

import type { CheckReport, Difference } from '../../replay/src/index.js'

const AROUND = 12 // tokens shown before and after the first that differs

export function describeCheck(report: CheckReport): string[] {
  const { mode, compared, equal, differing, failed, untold, others, notCompared } = report
  const rest = [
    ...(failed > 0 ? [`${failed} got no answer`] : []),
    ...(untold > 0 ? [`${untold} came without token ids`] : []),
    ...(notCompared > 0 ? [`${notCompared} not compared`] : []),
  ]
  const counts = [`${compared} compared, ${differing} differing`, ...rest].join(', ')
  if (mode === 'exact') {
    const foreign = `  ${others.compared} recorded with another fingerprint, which prove nothing: ${others.equal} of them equal; ${whatDiffers(report)}`
    return [`check: ${counts}`, ...(others.compared > 0 ? [foreign] : [])]
  }
  const { tokens, share } = report.meanCommonPrefix
  return [
    `check: another fingerprint: recorded ${list(report.recordedFingerprints)}, served ${list(report.servedFingerprints)}`,
    `  ${whatDiffers(report)}`,
    `  divergence: ${equal} of ${compared} answers equal (${percent(report.equalShare)}), mean common prefix ${tokens.toFixed(1)} tokens (${percent(share)})${rest.length > 0 ? `; ${rest.join(', ')}` : ''}`,
  ]
}

const list = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(', '))
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`

function whatDiffers({ fingerprintDifferences: parts }: CheckReport): string {
  if (parts.length === 0) return 'what differs in it is not told: the recording or the endpoint does not say its parts'
  return parts.map(({ part, recorded, served }) => `${part}: recorded ${recorded}, served ${served}`).join('; ')
}

export type TextOf = (tokens: readonly number[]) => Promise<string | undefined>

/** The first difference: where it is, and both texts around it; ids where nobody can tell the text. */
export async function describeDifference(difference: Difference, textOf: TextOf): Promise<string[]> {
  const { requestId, replayedAs, choice, offset, recorded, replayed } = difference
  const head = `first difference: request ${requestId} (replayed as ${replayedAs}), choice ${choice}`
  if (offset === undefined || recorded === undefined)
    return [`${head}; the recording has only hashes of its ids, so where they differ is not known`]
  const around = (ids: readonly number[]): readonly number[] => ids.slice(Math.max(0, offset - AROUND), offset + AROUND)
  return [
    `${head}, token ${offset}: recorded ${tokenAt(recorded, offset)}, replayed ${tokenAt(replayed, offset)}`,
    `  recorded: ${await shown(around(recorded), textOf)}`,
    `  replayed: ${await shown(around(replayed), textOf)}`,
  ]
}

const tokenAt = (ids: readonly number[], offset: number): string => String(ids[offset] ?? 'nothing (it had ended)')

async function shown(ids: readonly number[], textOf: TextOf): Promise<string> {
  const text = await textOf(ids)
  return text === undefined || text === '' ? `ids ${ids.join(' ')}` : JSON.stringify(text)
}
