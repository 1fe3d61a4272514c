// Small helpers around the DOM: elements by id, made, and changed only where they differ.

const SVG = 'http://www.w3.org/2000/svg'

export type Attributes = Readonly<Record<string, string | number>>

/** An element of the page. Throws where the page has none of that kind. */
export function find<T extends Element>(id: string, kind: new () => T): T {
  const element = document.getElementById(id)
  if (element instanceof kind) return element
  throw new Error(`the page has no ${kind.name} with the id ${id}`)
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  text = '',
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  if (className !== '') element.className = className
  if (text !== '') element.textContent = text
  return element
}

export function makeSvg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  text = '',
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag)
  setAttributes(element, attributes)
  if (text !== '') element.textContent = text
  return element
}

/** Leaves alone what is as it should be: the browser then has nothing to lay out. */
export function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    const text = typeof value === 'number' ? String(Math.round(value * 100) / 100) : value
    if (element.getAttribute(name) !== text) element.setAttribute(name, text)
  }
}

/** How much larger than on a laptop everything is (a 4K screen): pictures are laid out in a laptop's pixels, then enlarged. */
export const pageScale = (): number => parseFloat(getComputedStyle(document.documentElement).fontSize) / 14

export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** Elements by key: those that are wanted are made or kept, in order, the others removed. */
export function keepChildren<T>(
  parent: Element,
  elements: Map<string, Element>,
  wanted: readonly T[],
  { keyOf, create, update }: KeepOptions<T>,
): void {
  const keys = new Set(wanted.map(keyOf))
  for (const [key, element] of elements) {
    if (keys.has(key)) continue
    element.remove()
    elements.delete(key)
  }
  let next = parent.firstElementChild
  for (const item of wanted) {
    const key = keyOf(item)
    const element = elements.get(key) ?? create(item)
    elements.set(key, element)
    update(element, item)
    if (element === next) next = next.nextElementSibling
    else parent.insertBefore(element, next)
  }
}

interface KeepOptions<T> {
  readonly keyOf: (item: T) => string
  readonly create: (item: T) => Element
  readonly update: (element: Element, item: T) => void
}
