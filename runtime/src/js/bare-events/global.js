// bare-events 2.9, `/global`: the web's event classes as globals.

const { Event, CustomEvent, EventTarget } = require('bare-events/web')

globalThis.Event = Event
globalThis.CustomEvent = CustomEvent
globalThis.EventTarget = EventTarget
