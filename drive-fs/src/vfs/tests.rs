mod memory;
mod model;
mod rooms;
