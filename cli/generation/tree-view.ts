// The token trees of a generation as they come, one step under the other. Steps without drafts are held back until it is
// known how many there are in a row.

import type { StepTree } from '../../sdk/src/index.js'
import { drawLegend, drawPlainSteps, drawTree, isPlainStep } from './draw-tree.js'
import type { GenerationChunk } from './generation.js'

export interface TreeViewOptions {
  readonly color: boolean
  readonly width: number // columns of the terminal
  readonly numChoices: number
  readonly print: (lines: string) => void
}

export interface TreeView {
  show(chunk: GenerationChunk): void
  /** Draws what is held back, and what the signs mean. */
  end(): void
}

interface ChoiceView {
  numSteps: number // seen
  plain: StepTree[] // the last of them, not yet drawn
}

export function createTreeView({ numChoices, print, ...look }: TreeViewOptions): TreeView {
  const choices = new Map<number, ChoiceView>()
  const sources = new Set<string>()

  const choiceAt = (index: number): ChoiceView => {
    const view = choices.get(index) ?? { numSteps: 0, plain: [] }
    choices.set(index, view)
    return view
  }

  const title = (choice: number, from: number, to: number): string =>
    `${numChoices > 1 ? `choice ${choice}, ` : ''}${from === to ? `step ${to}` : `steps ${from}–${to}`}`

  const drawHeld = (choice: number, view: ChoiceView): void => {
    const { numSteps, plain } = view
    if (plain.length === 0) return
    print(drawPlainSteps(plain, { ...look, title: title(choice, numSteps - plain.length + 1, numSteps) }))
    view.plain = []
  }

  return {
    show: ({ choice, tree }) => {
      if (tree === undefined) return
      const view = choiceAt(choice)
      if (!isPlainStep(tree)) drawHeld(choice, view)
      view.numSteps += 1
      if (isPlainStep(tree)) view.plain.push(tree)
      else {
        for (const node of tree.nodes) for (const source of node.sources) sources.add(source)
        print(drawTree(tree, { ...look, title: title(choice, view.numSteps, view.numSteps) }))
      }
    },
    end: () => {
      for (const [choice, view] of choices) drawHeld(choice, view)
      if (sources.size > 0) print(`\n${drawLegend([...sources].sort(), look)}`)
    },
  }
}
