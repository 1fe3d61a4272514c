// `--nodes` and the flags that describe a node, as pools. Each `--nodes` is a pool: `4`, or `4:cpus=16,memory=64Gi`; what it
// does not say comes from the flags, then from the defaults.

import { ClusterError } from '../../lib/errors.js'
import type { NodePool } from '../../lib/deploy/node-pool.js'
import { parseMemory, parseOperations, parseProcessors, parseRate } from '../../lib/deploy/units.js'
import type { Flags } from '../cluster-flags.js'
import { usageError } from '../report-error.js'

const GIGA = 1e9
const GIBI = 2 ** 30
const MOST_NODES = 1000

/** What is measured of a property; the flag is `--node-…` or, of a GPU, `--gpu-…`. */
const PROPERTIES = {
  cpus: { flag: 'nodeCpus', parse: parseProcessors },
  memory: { flag: 'nodeMemory', parse: parseMemory },
  bandwidth: { flag: 'nodeBandwidth', parse: parseRate },
  network: { flag: 'nodeNetwork', parse: parseRate },
  gpus: { flag: 'nodeGpus', parse: parseGpus },
  'gpu-memory': { flag: 'gpuMemory', parse: parseMemory },
  'gpu-bandwidth': { flag: 'gpuBandwidth', parse: parseRate },
  'gpu-compute': { flag: 'gpuCompute', parse: parseOperations },
} as const
type Property = keyof typeof PROPERTIES
const PROPERTY_NAMES = Object.keys(PROPERTIES) as readonly Property[] // the keys of a Record are its key type

const DEFAULTS = {
  cpus: 16,
  memory: 64 * GIBI,
  network: 1.25 * GIGA, // 10 Gb/s
  gpus: 0,
  'gpu-memory': 24 * GIBI,
  'gpu-bandwidth': 800 * GIGA,
  'gpu-compute': 20e12,
}
const BANDWIDTH = { perProcessor: 16 * GIGA, most: 200 * GIGA }

function parseGpus(text: string): number {
  if (!/^\d{1,2}$/.test(text))
    throw new ClusterError('invalid_argument', `want a number of GPUs, found ${JSON.stringify(text)}`)
  return Number(text)
}

/** At least one pool, with names that differ; throws a usage error that names flag and value. */
export function nodePools(flags: Flags): readonly NodePool[] {
  const given = (Array.isArray(flags.nodes) ? (flags.nodes as readonly string[]) : []).flatMap((text) =>
    text.split(';'),
  )
  if (given.length === 0)
    throw usageError(
      'deploy plan: want --nodes N, or --nodes N:cpus=16,memory=64Gi,… for each kind of node, found none',
    )
  const common = commonProperties(flags)
  const pools = given.map((text, place) => poolOf(text.trim(), `pool-${place + 1}`, common))
  const names = pools.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw usageError(`--nodes: want a name for each pool, found ${twice} twice`)
  return pools
}

type Values = Partial<Record<Property, number>>

function commonProperties(flags: Flags): Values {
  const values: Values = {}
  for (const name of PROPERTY_NAMES) {
    const { flag } = PROPERTIES[name]
    const text = flags[flag]
    if (typeof text === 'string') values[name] = parsed(`--${kebabOf(flag)}`, name, text)
  }
  return values
}

const kebabOf = (flag: string): string => flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

function parsed(where: string, name: Property, text: string): number {
  try {
    return PROPERTIES[name].parse(text)
  } catch (error) {
    throw usageError(`${where}: ${ClusterError.from(error).message}`)
  }
}

function poolOf(text: string, placeName: string, common: Values): NodePool {
  const [, count = '', list] = /^(\d{1,4})(?::(.+))?$/.exec(text) ?? []
  if (!(Number(count) >= 1 && Number(count) <= MOST_NODES))
    throw usageError(
      `--nodes: want a number from 1 to ${MOST_NODES}, or as in 4:cpus=16,memory=64Gi, found ${JSON.stringify(text)}`,
    )
  const own: Values = {}
  const words: { name?: string; label?: NodePool['label'] } = {}
  for (const item of list?.split(',') ?? []) {
    const at = item.indexOf('=')
    const [key, value] = [item.slice(0, Math.max(0, at)).trim(), item.slice(at + 1).trim()]
    if (key === 'name') words.name = nameOf(value)
    else if (key === 'label') words.label = labelOf(value)
    else if (isProperty(key)) own[key] = parsed(`--nodes ${text}: ${key}`, key, value)
    else
      throw usageError(
        `--nodes ${text}: want ${[...PROPERTY_NAMES, 'name', 'label'].join('=…, ')}=…, found ${JSON.stringify(item)}`,
      )
  }
  const values = { ...DEFAULTS, ...common, ...own }
  return {
    name: words.name ?? placeName,
    count: Number(count),
    cpus: values.cpus,
    memory: values.memory,
    bandwidth: values.bandwidth ?? Math.min(BANDWIDTH.most, values.cpus * BANDWIDTH.perProcessor),
    network: values.network,
    gpus: values.gpus,
    gpuMemory: values['gpu-memory'],
    gpuBandwidth: values['gpu-bandwidth'],
    gpuOperations: values['gpu-compute'],
    label: words.label,
  }
}

const isProperty = (key: string): key is Property => key in PROPERTIES

const LABEL_VALUE = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/
const LABEL_KEY = /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/

function nameOf(value: string): string {
  if (LABEL_VALUE.test(value)) return value
  throw usageError(`--nodes: name: want letters, digits, - _ and ., found ${JSON.stringify(value)}`)
}

function labelOf(value: string): { readonly key: string; readonly value: string } {
  const at = value.indexOf('=')
  const label = { key: value.slice(0, Math.max(0, at)), value: value.slice(at + 1) }
  if (LABEL_KEY.test(label.key) && LABEL_VALUE.test(label.value)) return label
  throw usageError(`--nodes: label: want KEY=VALUE of a label of Kubernetes, found ${JSON.stringify(value)}`)
}
