// The series of one service in Prometheus' form. What a service counts where it happens is a counter or a histogram; what
// it holds anyway is read at every scrape, so that it costs nothing in between.
//
// Invariants
//   PM1  A registry belongs to one service: two in one process never add up.
//   PM2  A series whose label values are known beforehand exists from the start, at 0: a rate over it is never empty.

import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Names of labels, and those of their values that are known beforehand. */
export type LabelValues = Readonly<Record<string, readonly string[]>>

export interface MetricDescription {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  readonly help: string
}

export interface MetricsRegistry {
  counter(name: string, help: string, labels?: LabelValues): Counter
  gauge(name: string, help: string, labels?: LabelValues): Gauge
  histogram(name: string, help: string, buckets: readonly number[], labels?: LabelValues): Histogram
  /** A counter of what happens with every step; what is added stays a plain number until the next scrape. */
  tally(name: string, help: string): (count: number) => void
  /** The same with a label; `place` is that of the label's value among `values`. */
  tallies(
    name: string,
    help: string,
    labels: { readonly label: string; readonly values: readonly string[] },
  ): (place: number, count: number) => void
  /** A histogram of what happens with every step: values wait for a scrape, or until there are many. */
  timings(name: string, help: string, buckets: readonly number[]): (value: number) => void
  /** Called before every scrape: the place to read what is held elsewhere. */
  onScrape(read: () => void): void
  /** Prometheus text. */
  text(): Promise<string>
  /** In the order of their making. */
  readonly metrics: readonly MetricDescription[]
}

export const MS_PER_SECOND = 1000
const MAX_WAITING = 64 // values of a histogram

/** Of what takes milliseconds: steps, calls, gaps between tokens. */
export const SHORT_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5]
/** Of what may wait in a queue or run for minutes. */
export const LONG_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/** Every series carries the label `model_name`. */
export function createMetricsRegistry(modelName: string): MetricsRegistry {
  const registry = new Registry()
  registry.setDefaultLabels({ model_name: modelName })
  const registers = [registry]
  const metrics: MetricDescription[] = []
  const readers: (() => void)[] = []

  const describe = (type: MetricDescription['type'], name: string, help: string, labels: LabelValues) => {
    const labelNames = Object.keys(labels)
    metrics.push({ name, type, labels: labelNames, help })
    return { name, help, labelNames, registers }
  }

  const addCounter: MetricsRegistry['counter'] = (name, help, labels = {}) => {
    const counter = new Counter(describe('counter', name, help, labels))
    for (const known of combinations(labels)) counter.inc(known, 0)
    return counter
  }

  const addHistogram: MetricsRegistry['histogram'] = (name, help, buckets, labels = {}) => {
    const histogram = new Histogram({ ...describe('histogram', name, help, labels), buckets: [...buckets] })
    for (const known of combinations(labels)) histogram.zero(known)
    return histogram
  }

  return {
    metrics,
    counter: addCounter,
    tally: (name, help) => {
      const counter = addCounter(name, help)
      let total = 0
      readers.push(() => setTotal(counter, total))
      return (count) => {
        total += count
      }
    },
    timings: (name, help, buckets) => {
      const histogram = addHistogram(name, help, buckets)
      let waiting: number[] = []
      const observe = (): void => {
        for (const value of waiting) histogram.observe(value)
        waiting = []
      }
      readers.push(observe)
      return (value) => {
        if (waiting.push(value) === MAX_WAITING) observe()
      }
    },
    tallies: (name, help, { label, values }) => {
      const counter = addCounter(name, help, { [label]: values })
      const totals = new Float64Array(values.length)
      readers.push(() =>
        setTotals(
          counter,
          values.map((value, place) => ({ labels: { [label]: value }, value: totals[place]! })),
        ),
      )
      return (place, count) => {
        totals[place]! += count
      }
    },
    gauge: (name, help, labels = {}) => {
      const gauge = new Gauge(describe('gauge', name, help, labels))
      for (const known of combinations(labels)) gauge.set(known, 0)
      return gauge
    },
    histogram: addHistogram,
    onScrape: (read) => void readers.push(read),
    text: () => {
      for (const read of readers) read()
      return registry.metrics()
    },
  }
}

/** Every choice of known values; one without labels where there are none, and none where a label's are not known. */
function combinations(labels: LabelValues): Readonly<Record<string, string>>[] {
  return Object.entries(labels).reduce<Readonly<Record<string, string>>[]>(
    (all, [name, values]) => all.flatMap((chosen) => values.map((value) => ({ ...chosen, [name]: value }))),
    [{}],
  )
}

export interface Total {
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

/** Sets a counter to what was counted elsewhere. */
export function setTotal(counter: Counter, value: number): void {
  counter.reset()
  counter.inc(value)
}

/** The same for the series of a counter with labels; those that are not named keep what they have. */
export function setTotals(counter: Counter, totals: Iterable<Total>): void {
  for (const { labels, value } of totals) {
    counter.remove(labels)
    counter.inc(labels, value)
  }
}
