// Which versions of the frame a process speaks, and which of them two processes use with each other.
//
// Invariants
//   W1  A build reads its newest version and the one before; a version is dropped by the build that brings the next but one.
//   W2  Where two ranges have versions in common, the highest of them is chosen.

/** Both ends count in. */
export interface VersionRange {
  readonly lowest: number
  readonly highest: number
}

/** What this build reads and can write. */
export const KNOWN_VERSIONS: VersionRange = { lowest: 1, highest: 2 }

export const isWithin = (version: number, { lowest, highest }: VersionRange): boolean =>
  version >= lowest && version <= highest

export const haveCommon = (one: VersionRange, other: VersionRange): boolean =>
  one.lowest <= other.highest && other.lowest <= one.highest

/** What to send to a peer; where nothing is in common, what is nearest: it refuses that and says what it speaks. */
export const versionBetween = (own: VersionRange, peer: VersionRange): number =>
  Math.max(own.lowest, Math.min(own.highest, peer.highest))

/** What a process speaks that is told to speak no later version: it reads the later ones still. */
export const speakingUpTo = (highest: number): VersionRange => ({ lowest: KNOWN_VERSIONS.lowest, highest })

/** 'version 1' or 'version 1 to 2'. */
export const describeVersions = ({ lowest, highest }: VersionRange): string =>
  lowest === highest ? `version ${lowest}` : `version ${lowest} to ${highest}`
