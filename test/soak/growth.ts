// Whether what a process holds grows: from samples over time, by what the last third of them shows.

import { median } from '../../bench/statistics.js'

export interface Sample {
  readonly atMs: number
  readonly rssBytes: number
  readonly openFiles: number
}

export interface Growth {
  readonly numSamples: number
  readonly medianRssBytes: number // of the last third
  /** Of the RSS after the first third (warm-up), least squares. */
  readonly slopePerHour: number // share of the mean
  /** Median RSS of the last third over that of the second. */
  readonly thirds: number
  readonly moreFiles: number // median of the last third minus that of the second
}

const MS_PER_HOUR = 3_600_000

export function growthOf(samples: readonly Sample[]): Growth {
  const third = Math.floor(samples.length / 3)
  const second = samples.slice(third, 2 * third)
  const last = samples.slice(2 * third)
  const rss = (some: readonly Sample[]): number => median(some.map(({ rssBytes }) => rssBytes))
  const files = (some: readonly Sample[]): number => median(some.map(({ openFiles }) => openFiles))
  return {
    numSamples: samples.length,
    medianRssBytes: rss(last),
    slopePerHour: relativeSlope(samples.slice(third).map(({ atMs, rssBytes }) => [atMs / MS_PER_HOUR, rssBytes])),
    thirds: rss(last) / rss(second),
    moreFiles: files(last) - files(second),
  }
}

/** Slope of the line of least squares over the mean of y. */
export function relativeSlope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length
  const [meanX, meanY] = [mean(([x]) => x), mean(([, y]) => y)]
  const covariance = mean(([x, y]) => (x - meanX) * (y - meanY))
  return covariance / mean(([x]) => (x - meanX) ** 2) / meanY
}
