//! Deleting from a B-tree: what takes the place of a key that goes, and how nodes that became too small are filled again.
//!
//! Which neighbour is taken is part of the format. Source: hyperbee 2.27.3, `index.js` (`setKeyToNearestLeaf`, `rebalance`). Vectors: `bee.json`.
use super::{Editor, Node, NodeId};
use crate::{
    error::Result,
    node::{Fault, MIN_KEYS},
    view::Source,
};

const EMPTY_LEAF: Fault = "a leaf has no keys";
const NOT_A_TREE: Fault = "a node has no sibling of its own height";

impl Editor {
    /// Replaces key `at` of an inner node by its neighbour from the fuller of the two nearest leaves (the left one if they are alike).
    pub(super) async fn take_from_nearest_leaf(
        &mut self,
        node: NodeId,
        at: usize,
        path: &mut Vec<NodeId>,
    ) -> Result<()> {
        let left = self.spine(node, at, true, path.len()).await?;
        let right = self.spine(node, at + 1, false, path.len()).await?;
        let size = |spine: &[NodeId]| {
            spine
                .last()
                .map_or(0, |leaf| self.tree.nodes[*leaf].keys.len())
        };
        let from_right = size(&left) < size(&right);
        let spine = if from_right { right } else { left };
        let leaf = *spine.last().expect("a spine has its first node");
        let keys = &mut self.tree.nodes[leaf].keys;
        let key = match keys.len() {
            0 => return Err(self.fault(self.view.version.saturating_sub(1), EMPTY_LEAF)),
            _ if from_right => keys.remove(0),
            last => keys.remove(last - 1),
        };
        self.tree.nodes[node].keys[at] = key;
        path.extend(spine);
        Ok(())
    }

    /// The nodes from child `at` of `node` down to its last (or first) leaf.
    async fn spine(
        &mut self,
        node: NodeId,
        at: usize,
        last: bool,
        depth: usize,
    ) -> Result<Vec<NodeId>> {
        let mut spine = vec![self.load_child(node, at, depth).await?];
        loop {
            let below = spine[spine.len() - 1];
            let at = match self.tree.nodes[below].children.len() {
                0 => return Ok(spine),
                n if last => n - 1,
                _ => 0,
            };
            spine.push(self.load_child(below, at, depth + spine.len()).await?);
        }
    }

    /// Gives each node of `path`, from the leaf up, at least four keys again: from a sibling that can spare one, else by joining one. Answers the root.
    pub(super) async fn rebalance(&mut self, mut path: Vec<NodeId>) -> Result<NodeId> {
        let root = path[0];
        while path.len() > 1 {
            let (node, parent) = (path[path.len() - 1], path[path.len() - 2]);
            path.pop();
            if self.tree.nodes[node].keys.len() >= MIN_KEYS {
                return Ok(root);
            }
            let at = self.tree.nodes[parent]
                .children
                .iter()
                .position(|slot| self.tree.slots[*slot].node == Some(node))
                .ok_or_else(|| self.fault(self.view.version.saturating_sub(1), NOT_A_TREE))?;
            let depth = path.len();
            let left = match at {
                0 => None,
                _ => Some(self.load_child(parent, at - 1, depth).await?),
            };
            let right = match at + 1 < self.tree.nodes[parent].children.len() {
                true => Some(self.load_child(parent, at + 1, depth).await?),
                false => None,
            };
            let leaf = self.tree.nodes[node].children.is_empty();
            if [left, right]
                .iter()
                .flatten()
                .any(|n| self.tree.nodes[*n].children.is_empty() != leaf)
            {
                return Err(self.fault(self.view.version.saturating_sub(1), NOT_A_TREE));
            }
            if let Some(left) = left.filter(|n| self.tree.nodes[*n].keys.len() > MIN_KEYS) {
                self.borrow(left, node, parent, at - 1, true);
                return Ok(root);
            }
            if let Some(right) = right.filter(|n| self.tree.nodes[*n].keys.len() > MIN_KEYS) {
                self.borrow(right, node, parent, at, false);
                return Ok(root);
            }
            match (left, right) {
                (Some(left), _) => self.merge(left, node, parent, at - 1),
                (None, Some(right)) => self.merge(node, right, parent, at),
                (None, None) => {
                    return Err(self.fault(self.view.version.saturating_sub(1), NOT_A_TREE));
                }
            }
        }
        match self.tree.nodes[root].keys.is_empty() && !self.tree.nodes[root].children.is_empty() {
            true => self.load_child(root, 0, 1).await,
            false => Ok(root),
        }
    }

    /// Moves a key of `from` up into `parent` at `at`, and the one that was there down into `to`; the child next to it goes along.
    fn borrow(&mut self, from: NodeId, to: NodeId, parent: NodeId, at: usize, from_left: bool) {
        let Node { keys, children, .. } = &mut self.tree.nodes[from];
        let (key, child) = if from_left {
            (keys.pop(), children.pop())
        } else {
            let child = (!children.is_empty()).then(|| children.remove(0));
            (Some(keys.remove(0)), child)
        };
        self.tree.nodes[from].changed = true;
        let key = key.expect("a sibling that can spare a key has five");
        let down = std::mem::replace(&mut self.tree.nodes[parent].keys[at], key);
        let to = &mut self.tree.nodes[to];
        if from_left {
            to.keys.insert(0, down);
            if let Some(child) = child {
                to.children.insert(0, child);
            }
        } else {
            to.keys.push(down);
            to.children.extend(child);
        }
    }

    /// Joins two children of `parent` and the key `at` between them in the left one.
    fn merge(&mut self, left: NodeId, right: NodeId, parent: NodeId, at: usize) {
        let median = self.tree.nodes[parent].keys.remove(at);
        let freed = self.tree.nodes[parent].children.remove(at + 1);
        self.tree.slots[freed].seq = 0;
        self.tree.nodes[parent].changed = true;
        // the right one is left as it is: an earlier block of the batch may still name it
        let (keys, children) = (
            self.tree.nodes[right].keys.clone(),
            self.tree.nodes[right].children.clone(),
        );
        let left = &mut self.tree.nodes[left];
        left.keys.push(median);
        left.keys.extend(keys);
        left.children.extend(children);
        left.changed = true;
    }
}
