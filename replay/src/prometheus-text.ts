// Prometheus' text format, as far as a report needs it: samples with their labels, and what grew between two scrapes.

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g

export function parseMetrics(text: string): Sample[] {
  return text.split('\n').flatMap((line) => {
    const [, name, labels = '', value = ''] = LINE.exec(line) ?? []
    if (name === undefined) return []
    const pairs = [...labels.matchAll(LABEL)].map(([, label = '', escaped = '']): [string, string] => [
      label,
      escaped.replaceAll(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char)),
    ])
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }]
  })
}

const keyOf = ({ name, labels }: Sample): string => `${name}|${JSON.stringify(Object.entries(labels).sort())}`

/** Growth of each series of the second scrape; one that is smaller than before was started anew. */
export function growth(before: readonly Sample[], after: readonly Sample[]): Sample[] {
  const was = new Map(before.map((sample) => [keyOf(sample), sample.value]))
  return after.map((sample) => {
    const old = was.get(keyOf(sample)) ?? 0
    return { ...sample, value: sample.value >= old ? sample.value - old : sample.value }
  })
}

export interface Bucket {
  readonly le: number
  readonly count: number // cumulative
}

/** The buckets of a histogram, all other labels summed, ascending. */
export function bucketsOf(samples: readonly Sample[], name: string): Bucket[] {
  const counts = new Map<number, number>()
  for (const sample of samples) {
    if (sample.name !== `${name}_bucket`) continue
    const le = sample.labels.le === '+Inf' ? Infinity : Number(sample.labels.le)
    counts.set(le, (counts.get(le) ?? 0) + sample.value)
  }
  return [...counts].map(([le, count]) => ({ le, count })).sort((a, b) => a.le - b.le)
}

/** Index of the bucket that holds a share of the observations; undefined of none. */
export function bucketAt(buckets: readonly Bucket[], share: number): number | undefined {
  const total = buckets.at(-1)?.count ?? 0
  return total === 0 ? undefined : buckets.findIndex(({ count }) => count >= share * total)
}

export const sumOf = (samples: readonly Sample[], name: string): number =>
  samples.reduce((sum, sample) => (sample.name === name ? sum + sample.value : sum), 0)
