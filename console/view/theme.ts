// Dark or light: as the system says until the button is pressed, then as it was chosen last.

import { find, make } from './dom.js'

const STORED = 'banyan-console-theme'

export type ThemeName = 'dark' | 'light'

export interface Theme {
  readonly name: ThemeName
  /** The present value of a variable of the style that is a colour. */
  colour(name: string): string
  onChange(listener: () => void): void
}

export function createTheme(): Theme {
  const root = document.documentElement
  const probe = document.body.appendChild(make('i')) // variables have no colour before they are used
  probe.hidden = true
  const system = matchMedia('(prefers-color-scheme: light)')
  const listeners: (() => void)[] = []
  const chosen = localStorage.getItem(STORED)
  if (chosen === 'dark' || chosen === 'light') root.dataset.theme = chosen

  const nameNow = (): ThemeName => {
    const { theme } = root.dataset
    if (theme === 'dark' || theme === 'light') return theme
    return system.matches ? 'light' : 'dark'
  }
  const changed = (): void => listeners.forEach((listener) => listener())

  find('theme', HTMLButtonElement).addEventListener('click', () => {
    const next = nameNow() === 'dark' ? 'light' : 'dark'
    root.dataset.theme = next
    localStorage.setItem(STORED, next)
    changed()
  })
  system.addEventListener('change', changed)
  return {
    get name() {
      return nameNow()
    },
    colour: (name) => {
      probe.style.color = `var(--${name})`
      return getComputedStyle(probe).color
    },
    onChange: (listener) => {
      listeners.push(listener)
    },
  }
}
