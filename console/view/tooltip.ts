// One tooltip for the whole page, beside the pointer.

import { find, setText } from './dom.js'

const MARGIN = 14

export interface Tooltip {
  show(text: string, event: PointerEvent): void
  hide(): void
}

export function createTooltip(): Tooltip {
  const box = find('tooltip', HTMLDivElement)
  return {
    show: (text, { clientX, clientY }) => {
      setText(box, text)
      box.hidden = false
      const { width, height } = box.getBoundingClientRect()
      const left = clientX + MARGIN + width > innerWidth ? clientX - MARGIN - width : clientX + MARGIN
      const top = clientY + MARGIN + height > innerHeight ? clientY - MARGIN - height : clientY + MARGIN
      box.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`
    },
    hide: () => {
      box.hidden = true
    },
  }
}

/** Shows what `describe` says of the element under the pointer, if it says something. */
export function explain(root: Element, tooltip: Tooltip, describe: (event: PointerEvent) => string | undefined): void {
  const move = (event: Event): void => {
    if (!(event instanceof PointerEvent)) return
    const text = describe(event)
    if (text === undefined) tooltip.hide()
    else tooltip.show(text, event)
  }
  root.addEventListener('pointermove', move)
  root.addEventListener('pointerleave', () => tooltip.hide())
}
