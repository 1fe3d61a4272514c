// Opens the draft sources that were asked for. `auto` is what measured best together (bench/speculation): everything that
// reads text, and the best head beside the model that fits it. Medusa's guesses only dilute those of an EAGLE head.

import type { Clock } from '../../lib/actor/actor.js'
import type { DrafterOptions } from '../../lib/config/service.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import { ClusterError, type ErrorCode } from '../../lib/errors.js'
import { openModel, openWeights, type Checkpoint } from '../../lib/model/checkpoint.js'
import type { TextSource } from './draft-source.js'
import type { DraftModel } from './draft-model.js'
import type { Sources } from './drafting.js'
import { createEagle } from './eagle.js'
import { createEagleLayer } from './eagle-layer.js'
import { hasHead, headPath, openHeadFile, type HeadFile } from './head-file.js'
import { createMedusa } from './medusa.js'
import { createModelDrafter } from './model-drafter.js'
import { createModelGrowth } from './model-growth.js'
import { createNgramSource } from './ngram.js'
import { createPromptLookup } from './prompt-lookup.js'
import { createSuffixSource } from './suffix.js'

const TEXT_SOURCES: Readonly<Record<string, () => TextSource>> = {
  'prompt-lookup': createPromptLookup,
  suffix: createSuffixSource,
  ngram: createNgramSource,
}
const AUTO_TEXT_SOURCES = ['prompt-lookup', 'suffix', 'ngram']
const AUTO_HEADS = ['eagle', 'medusa'] // the better ones first
const AHEAD = 'ahead'

/** The names of the sources that these options mean. */
export function sourceNames({ sources, model, draftModel }: DrafterOptions): string[] {
  const auto = [
    ...AUTO_TEXT_SOURCES,
    ...AUTO_HEADS.filter((kind) => hasHead(model.path, kind)).slice(0, 1),
    ...(draftModel === undefined ? [] : ['model']),
  ]
  return [...new Set(sources.flatMap((name) => (name === 'auto' ? auto : [name])))]
}

export interface OpenedSources extends Sources {
  dispose(): void
}

export interface Surroundings {
  readonly clock: Clock
  readonly kernels: () => Kernels
  /** Hears of a head that `auto` found and that does not fit the model. */
  readonly onUnfit: (error: ClusterError) => void
}

/**
 * Throws `failed_precondition` where a source that was asked for by name lacks what it needs, `invalid_argument` or
 * `unimplemented` where that is broken or of another kind of model.
 */
export async function openSources(options: DrafterOptions, around: Surroundings): Promise<OpenedSources> {
  const { clock } = around
  const wanted = new Set(sourceNames(options))
  const texts = Object.entries(TEXT_SOURCES).flatMap(([name, create]) => (wanted.has(name) ? [create()] : []))
  const needsModel = ['medusa', 'eagle', 'model'].some((name) => wanted.has(name))
  if (!needsModel)
    return { texts, medusa: undefined, models: [], names: [...namesOf(texts), AHEAD], hidden: 0, dispose }
  const open = wanted.has('model') ? openModel : openWeights // draft models are compared by their tokenizers
  const target = await open(options.model.path)
  const opened: { dispose(): void }[] = [{ dispose: () => target.close() }]
  const keep = <T extends { dispose(): void }>(part: T): T => (opened.push(part), part)
  const disposeAll = (): void => opened.reverse().forEach((part) => part.dispose())
  try {
    const compute = { kernels: around.kernels(), format: options.model.weights }
    const head = <T>(kind: string, use: (file: HeadFile) => T): T | undefined =>
      options.sources.includes(kind) ? withHead(options, kind, use) : headThatFits(options, kind, use, around.onUnfit)
    const layer = wanted.has('eagle') ? head('eagle', (file) => createEagleLayer(target, file, compute)) : undefined
    const models: DraftModel[] = layer === undefined ? [] : [keep(createEagle(target, layer))]
    const isNextBest = wanted.has('eagle') && layer === undefined
    const opensMedusa = wanted.has('medusa') || (isNextBest && hasHead(options.model.path, 'medusa'))
    const medusa = opensMedusa ? head('medusa', (file) => keep(createMedusa(target, file, compute))) : undefined
    if (wanted.has('model')) {
      const draftModel = keep(closing(await openDraftModel(options)))
      models.push(keep(await createModelDrafter(draftModel.checkpoint, { ...compute, target, turn: clock.turn })))
    }
    const first = texts.length + (medusa === undefined ? 0 : 1)
    const readsHidden = medusa !== undefined || models.some((model) => model.hidden > 0)
    const growths = models.map((model, index) => createModelGrowth({ model, clock, index, source: first + index }))
    for (const growth of growths) growth.warmUp()
    return {
      texts,
      medusa,
      models: growths,
      names: [...namesOf(texts), ...(medusa === undefined ? [] : [medusa.name]), ...namesOf(models), AHEAD],
      hidden: readsHidden ? target.spec.hidden : 0,
      dispose: disposeAll,
    }
  } catch (error) {
    disposeAll()
    throw error
  }
}

const closing = (checkpoint: Checkpoint) => ({ checkpoint, dispose: () => checkpoint.close() })
const dispose = (): void => undefined
const namesOf = (sources: readonly { readonly name: string }[]): string[] => sources.map(({ name }) => name)

async function openDraftModel({ draftModel }: DrafterOptions): Promise<Checkpoint> {
  if (draftModel !== undefined) return openModel(draftModel)
  throw new ClusterError('failed_precondition', 'draft source model: want --draft-model PATH, found none')
}

const UNFIT: readonly ErrorCode[] = ['invalid_argument', 'unimplemented']

function headThatFits<T>(
  options: DrafterOptions,
  kind: string,
  use: (file: HeadFile) => T,
  onUnfit: Surroundings['onUnfit'],
): T | undefined {
  try {
    return withHead(options, kind, use)
  } catch (error) {
    if (!(error instanceof ClusterError && UNFIT.includes(error.code))) throw error
    onUnfit(error)
    return undefined
  }
}

function withHead<T>({ model }: DrafterOptions, kind: string, use: (file: HeadFile) => T): T {
  if (!hasHead(model.path, kind)) {
    throw new ClusterError(
      'failed_precondition',
      `draft source ${kind}: want ${headPath(model.path, kind)}, found none`,
    )
  }
  const file = openHeadFile(headPath(model.path, kind))
  try {
    return use(file)
  } finally {
    file.close()
  }
}
