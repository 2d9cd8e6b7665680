for (let i = 0; i < 200; i++) new Bare.Thread({ data: { i } }, (data) => { if (data.i % 50 === 0) console.log(data.i) }).join()
