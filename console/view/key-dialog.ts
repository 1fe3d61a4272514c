// Asks for the API key where the router wants one. It is kept for this tab only, and goes nowhere but to the router.

import { keyProblem } from '../state/key.js'
import { find } from './dom.js'

const STORED = 'banyan-api-key'

export interface KeyDialog {
  readonly stored: string | undefined
  ask(): void
  close(): void
}

export function createKeyDialog(onKey: (key: string) => void): KeyDialog {
  const dialog = find('key-dialog', HTMLDialogElement)
  const input = find('key', HTMLInputElement)
  const stored = sessionStorage.getItem(STORED) ?? undefined

  const open = (): void => {
    if (!dialog.open) dialog.showModal()
  }
  find('key-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault()
    const key = input.value.trim()
    input.setCustomValidity(keyProblem(key))
    if (!input.reportValidity()) return
    sessionStorage.setItem(STORED, key)
    input.value = ''
    dialog.close()
    onKey(key)
  })
  input.addEventListener('input', () => input.setCustomValidity('')) // else the form is never submitted again
  find('key-button', HTMLButtonElement).addEventListener('click', open)
  return {
    stored,
    ask: open,
    close: () => dialog.close(),
  }
}
