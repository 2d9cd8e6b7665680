throw 'only a text'
