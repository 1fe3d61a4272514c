// Which versions of the frame the other processes speak, and so in which one to speak to them. Every frame says what its
// sender speaks, so nobody has to be asked.
//
// Invariants
//   N1  A process of which nothing is known, and everybody at once, is spoken to in the lowest version that is spoken here.
//   N2  A process is spoken to in the highest version that both speak, by what it said last: it may be started anew with
//       another build, under the same name. Who believes it the one it was is refused, and learns from the refusal.
//   N3  An answer has the version of its question where that is spoken here.
//   N4  What is kept is bounded: processes that come and go under ever new names are forgotten, the oldest first.

import { ClusterError } from '../errors.js'
import { WIRE_VERSION, type FrameHeader } from '../wire/frame.js'
import { describeVersions, isWithin, versionBetween, type VersionRange } from '../wire/versions.js'

const MAX_PROCESSES = 4096

export interface PeerVersions {
  /** Something of that process came. */
  heard(process: string, speaks: VersionRange): void
  versionFor(address: string): number
  /** `header`: of the question; undefined where not even that could be read. */
  versionOfReply(header: FrameHeader | undefined): number
  of(this: void, address: string): VersionRange | undefined
  /** The error where neither side can read what the other writes. */
  nothingInCommon(address: string, speaks: VersionRange): ClusterError
}

/** 'attention-0.control' → 'attention-0': an address begins with the name of its process, which has no dot. */
export function processOf(address: string): string {
  const dot = address.indexOf('.')
  return dot === -1 ? address : address.slice(0, dot)
}

export function createPeerVersions(own: VersionRange): PeerVersions {
  const peers = new Map<string, VersionRange>()
  const of = (address: string): VersionRange | undefined => peers.get(processOf(address))
  return {
    of,
    heard: (process, speaks) => {
      const known = peers.get(process)
      if (known?.lowest === speaks.lowest && known.highest === speaks.highest) return
      peers.set(process, speaks)
      if (peers.size > MAX_PROCESSES) for (const oldest of [...peers.keys()].slice(0, 1)) peers.delete(oldest)
    },
    versionFor: (address) => {
      const speaks = of(address)
      return speaks === undefined ? own.lowest : versionBetween(own, speaks)
    },
    versionOfReply: (header) => {
      if (header === undefined) return own.lowest
      const { version, speaks } = header
      return isWithin(version, own) ? version : versionBetween(own, speaks)
    },
    nothingInCommon: (address, speaks) => {
      const why = `${address}: want a process that speaks ${describeVersions(own)} of the frame, found ${describeVersions(speaks)}`
      return new ClusterError('failed_precondition', why, { details: { reason: WIRE_VERSION } })
    },
  }
}
