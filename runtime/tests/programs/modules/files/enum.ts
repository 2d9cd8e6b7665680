const enum Direction { Up }
